//! What a pickle of `torch.save` describes, read without ever executing it: an interpreter of the opcodes that knows
//! dictionaries, lists, numbers, text and tensors, and refuses by name whatever else a pickle asks for.
//!
//! The opcodes are those of Python's `pickletools` for protocols 2 to 5. Values are numbers of nodes in one table, so that
//! neither a deep pickle nor one that contains itself can hurt; each opcode makes at most one node.

use std::collections::HashMap;
use std::ops::Range;

use super::Precision;
use super::known::{Known, known};

/// More nodes than this are refused: an official file with its optimiser's state has some hundred thousand.
const MOST_NODES: usize = 1 << 22;

/// PyTorch's own limit. This and the next keep what one opcode copies short.
const MOST_AXES: usize = 64;
/// Bytes of a name.
const LONGEST_NAME: usize = 512;

/// A node's number.
pub(super) type Id = u32;

/// One value.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Nothing,
    Bool(bool),
    Whole(i64),
    Real(f64),
    /// Where its UTF-8 lies in the pickle.
    Text(Range<usize>),
    /// Tuple, list or set.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Known(Known),
    Storage(Storage),
    Tensor(Tensor),
    /// Plain data that is of no use here: bytes, NumPy's scalars, devices.
    Plain,
}

/// A run of numbers in the zip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    /// The member's name below `data/`.
    pub(super) key: String,
    pub(super) kind: Precision,
    /// Bytes of a number.
    pub(super) size: usize,
    /// Numbers.
    pub(super) count: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) storage: Id,
    /// In numbers.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// A pickle that was read.
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    pub(super) nodes: Vec<Node>,
    pub(super) root: Id,
}

impl Pickle<'_> {
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// A text, or nothing if it is too long for a name or no text.
    pub(super) fn name(&self, range: &Range<usize>) -> Option<String> {
        name(self.bytes, range)
    }
}

fn name(bytes: &[u8], range: &Range<usize>) -> Option<String> {
    bytes
        .get(range.clone())
        .filter(|bytes| bytes.len() <= LONGEST_NAME)
        .and_then(|bytes| String::from_utf8(bytes.to_vec()).ok())
}

/// Reads a pickle whole. What is wrong is said in words that go on from "its pickle".
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine =
        Machine { bytes, at: 0, nodes: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    loop {
        if machine.nodes.len() > MOST_NODES {
            return Err(format!("holds more than {MOST_NODES} values, which no checkpoint does"));
        }
        if machine.step()? {
            let root = machine.pop()?;
            return Ok(Pickle { bytes, nodes: machine.nodes, root });
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl Machine<'_> {
    fn take(&mut self, count: usize) -> Result<Range<usize>, String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| format!("ends early, after {} bytes", self.bytes.len()))?;
        Ok(std::mem::replace(&mut self.at, end)..end)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let range = self.take(N)?;
        Ok(*self.bytes[range].first_chunk().expect("as many bytes as were taken"))
    }

    /// A length of `N` bytes, little-endian.
    fn length<const N: usize>(&mut self) -> Result<usize, String> {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(&self.array::<N>()?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| "claims a length beyond memory".to_owned())
    }

    fn line(&mut self) -> Result<&str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().take(LONGEST_NAME).position(|byte| *byte == b'\n');
        let length = end.ok_or_else(|| self.broken())?;
        let range = self.take(length)?;
        self.at += 1;
        std::str::from_utf8(&self.bytes[range]).map_err(|_| "holds a name that is no text".to_owned())
    }

    fn push(&mut self, node: Node) {
        self.stack.push(self.nodes.len() as Id);
        self.nodes.push(node);
    }

    fn pop(&mut self) -> Result<Id, String> {
        // What lies under a mark is not this opcode's.
        if self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            Ok(self.stack.pop().expect("higher than a mark"))
        } else {
            Err(self.broken())
        }
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(|| self.broken())
    }

    fn above_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or_else(|| self.broken())?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn broken(&self) -> String {
        format!("is damaged at byte {}", self.at)
    }

    fn sequence(&mut self, count: usize) -> Result<(), String> {
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            parts.push(self.pop()?);
        }
        parts.reverse();
        self.push(Node::Sequence(parts));
        Ok(())
    }

    fn remember(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id = *self.memo.get(&index).ok_or_else(|| self.broken())?;
        self.stack.push(id);
        Ok(())
    }

    fn extend(&mut self, parts: Vec<Id>) -> Result<(), String> {
        let id = self.top()?;
        match &mut self.nodes[id as usize] {
            Node::Sequence(all) => all.extend(parts),
            Node::Plain => {}
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    fn set(&mut self, parts: &[Id]) -> Result<(), String> {
        let id = self.top()?;
        let (pairs, []) = parts.as_chunks::<2>() else {
            return Err(self.broken());
        };
        match &mut self.nodes[id as usize] {
            Node::Dict(all) => all.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Node::Plain => {}
            _ => return Err(self.broken()),
        }
        Ok(())
    }

    /// Little-endian two's complement; of more than 64 bits nothing is wanted here.
    fn long(&mut self, count: usize) -> Result<(), String> {
        let range = self.take(count)?;
        let bytes = &self.bytes[range];
        let node = if count > 8 {
            Node::Plain
        } else {
            let fill = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xFF } else { 0 };
            let mut wide = [fill; 8];
            wide[..count].copy_from_slice(bytes);
            Node::Whole(i64::from_le_bytes(wide))
        };
        self.push(node);
        Ok(())
    }

    fn text(&mut self, count: usize) -> Result<(), String> {
        let range = self.take(count)?;
        self.push(Node::Text(range));
        Ok(())
    }

    fn plain(&mut self, count: usize) -> Result<(), String> {
        self.take(count)?;
        self.push(Node::Plain);
        Ok(())
    }

    /// One opcode; whether it was the last.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = self.array()?;
        match code {
            0x80 => {
                let [version] = self.array()?;
                if !(2..=5).contains(&version) {
                    return Err(format!("is of protocol {version}, where 2 to 5 were expected"));
                }
            }
            0x95 => {
                self.take(8)?;
            }
            b'.' => return Ok(true),
            b'(' => self.marks.push(self.stack.len()),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Node::Nothing),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' => {
                let bytes = self.array()?;
                self.push(Node::Whole(i32::from_le_bytes(bytes).into()));
            }
            b'K' => {
                let [byte] = self.array()?;
                self.push(Node::Whole(byte.into()));
            }
            b'M' => {
                let bytes = self.array()?;
                self.push(Node::Whole(u16::from_le_bytes(bytes).into()));
            }
            0x8A => {
                let count = self.length::<1>()?;
                self.long(count)?;
            }
            0x8B => {
                let count = self.length::<4>()?;
                self.long(count)?;
            }
            b'G' => {
                let bytes = self.array()?;
                self.push(Node::Real(f64::from_be_bytes(bytes)));
            }
            0x8C | b'U' => {
                let count = self.length::<1>()?;
                self.text(count)?;
            }
            b'X' | b'T' => {
                let count = self.length::<4>()?;
                self.text(count)?;
            }
            0x8D => {
                let count = self.length::<8>()?;
                self.text(count)?;
            }
            b'C' => {
                let count = self.length::<1>()?;
                self.plain(count)?;
            }
            b'B' => {
                let count = self.length::<4>()?;
                self.plain(count)?;
            }
            0x8E | 0x96 => {
                let count = self.length::<8>()?;
                self.plain(count)?;
            }
            b')' | b']' | 0x8F => self.push(Node::Sequence(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b't' | b'l' | 0x91 => {
                let parts = self.above_mark()?;
                self.push(Node::Sequence(parts));
            }
            0x85 => self.sequence(1)?,
            0x86 => self.sequence(2)?,
            0x87 => self.sequence(3)?,
            b'a' => {
                let part = self.pop()?;
                self.extend(vec![part])?;
            }
            b'e' | 0x90 => {
                let parts = self.above_mark()?;
                self.extend(parts)?;
            }
            b'd' => {
                let parts = self.above_mark()?;
                self.push(Node::Dict(Vec::new()));
                self.set(&parts)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])?;
            }
            b'u' => {
                let parts = self.above_mark()?;
                self.set(&parts)?;
            }
            b'q' => {
                let [index] = self.array()?;
                self.remember(index.into())?;
            }
            b'r' => {
                let bytes = self.array()?;
                self.remember(u32::from_le_bytes(bytes))?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [index] = self.array()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let bytes = self.array()?;
                self.recall(u32::from_le_bytes(bytes))?;
            }
            b'c' => {
                let module = self.line()?.to_owned();
                let known = known(&module, self.line()?)?;
                self.push(Node::Known(known));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Text(name), Node::Text(module)) = (&self.nodes[name as usize], &self.nodes[module as usize])
                else {
                    return Err(self.broken());
                };
                let of = |range| self::name(self.bytes, range).ok_or_else(|| self.broken());
                let known = known(&of(module)?, &of(name)?)?;
                self.push(Node::Known(known));
            }
            b'R' | 0x81 => {
                let (arguments, callee) = (self.pop()?, self.pop()?);
                let node = self.result(callee, arguments)?;
                self.push(node);
            }
            b'b' => {
                // Attributes of a dictionary (`_metadata`), the state of a NumPy dtype: nothing of use.
                self.pop()?;
                let id = self.top()?;
                if !matches!(self.nodes[id as usize], Node::Dict(_) | Node::Plain | Node::Tensor(_)) {
                    return Err(self.broken());
                }
            }
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(id).ok_or_else(|| self.broken())?;
                self.push(Node::Storage(storage));
            }
            b'i' | b'o' => return Err("makes objects in the way of Python 1, which no checkpoint does".to_owned()),
            code => {
                return Err(format!(
                    "is damaged or of a foreign kind: the byte {code:#04x} at {} is no opcode that `torch.save` writes",
                    self.at - 1
                ));
            }
        }
        Ok(false)
    }

    /// What a known name called with these arguments would return.
    fn result(&self, callee: Id, arguments: Id) -> Result<Node, String> {
        let (Node::Known(known), Node::Sequence(arguments)) =
            (&self.nodes[callee as usize], &self.nodes[arguments as usize])
        else {
            return Err(self.broken());
        };
        let argument = |at: usize| arguments.get(at).map(|id| &self.nodes[*id as usize]);
        match known {
            Known::OrderedDict if arguments.is_empty() => Ok(Node::Dict(Vec::new())),
            Known::RebuildTensor => self.tensor(arguments).map(Node::Tensor).ok_or_else(|| self.broken()),
            Known::RebuildParameter => match argument(0) {
                Some(Node::Tensor(tensor)) => Ok(Node::Tensor(tensor.clone())),
                _ => Err(self.broken()),
            },
            Known::Plain => Ok(Node::Plain),
            Known::OrderedDict | Known::Storage(..) => Err(self.broken()),
        }
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, …)`.
    fn tensor(&self, arguments: &[Id]) -> Option<Tensor> {
        let [storage, offset, shape, strides, ..] = *arguments else {
            return None;
        };
        let numbers = |id: Id| match &self.nodes[id as usize] {
            Node::Sequence(parts) if parts.len() <= MOST_AXES => {
                parts.iter().map(|id| self.count(*id)).collect::<Option<Vec<usize>>>()
            }
            _ => None,
        };
        let (shape, strides) = (numbers(shape)?, numbers(strides)?);
        let whole = matches!(self.nodes[storage as usize], Node::Storage(_)) && shape.len() == strides.len();
        Some(Tensor { storage, offset: self.count(offset)?, shape, strides }).filter(|_| whole)
    }

    fn count(&self, id: Id) -> Option<usize> {
        match self.nodes[id as usize] {
            Node::Whole(number) => usize::try_from(number).ok(),
            _ => None,
        }
    }

    /// The persistent name `("storage", kind, key, device, count)`.
    fn storage(&self, id: Id) -> Option<Storage> {
        let Node::Sequence(parts) = &self.nodes[id as usize] else {
            return None;
        };
        let [word, kind, key, _, count, ..] = **parts else {
            return None;
        };
        let text = |id: Id| match &self.nodes[id as usize] {
            Node::Text(range) => name(self.bytes, range),
            _ => None,
        };
        let Node::Known(Known::Storage(kind, size)) = self.nodes[kind as usize] else {
            return None;
        };
        let key = text(key).filter(|_| text(word).as_deref() == Some("storage"))?;
        Some(Storage { key, kind, size, count: self.count(count)? })
    }
}
