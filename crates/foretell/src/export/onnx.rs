//! A vision transformer as an ONNX graph of standard operators (opset 17, the first with LayerNormalization).
//!
//! Input `pixel_values` `[batch, C, H, W]`, normalised as in training; output `last_hidden_state` `[batch, N, D]`; the batch is
//! free. Field numbers are those of `onnx.proto3`.
//!
//! In int8 the maps of the blocks are whole numbers of eight bits, symmetric, with a scale for each output channel, and what goes into
//! them is quantised when it comes (`DynamicQuantizeLinear`, `MatMulInteger`): on a processor ONNX Runtime 1.32 runs that 1.3 times as
//! fast as weights without a sign, or weights that `DequantizeLinear` widens. Embedding, norms and attention stay in f32.

use std::f32::consts::FRAC_1_SQRT_2;

use foretell_data::protobuf::Message;
use foretell_nn::vit::Vit;
use foretell_nn::weights::{self, NamedTensor, NamedTensors};

use crate::Error;

/// The version of the file's own format that came with the operators of [`OPSET`].
const IR: i64 = 8;
const OPSET: i64 = 17;
/// `TensorProto.DataType`.
const FLOAT: i64 = 1;
const INT64: i64 = 7;
const INT8: i64 = 3;
/// No protobuf message may be longer.
const MOST: usize = i32::MAX as usize;
/// Room for everything that is no weight, for each block and once more.
const ROOM: usize = 1 << 16;

/// Names of the input and the output, as transformers has them.
const INPUT: &str = "pixel_values";
const OUTPUT: &str = "last_hidden_state";
const BATCH: &str = "batch";

/// Names of constants that every block uses.
const SCALE: &str = "attention_scale";
const SPLIT_HEADS: &str = "split_heads";
const JOIN_HEADS: &str = "join_heads";
const THIRDS: &str = "thirds";
const SQRT_HALF: &str = "sqrt_half";
const HALF: &str = "half";
const ONE: &str = "one";

/// An attribute of a node: field 5 of `NodeProto`.
enum Attribute<'a> {
    Whole(&'a str, i64),
    Real(&'a str, f32),
    Wholes(&'a str, &'a [i64]),
}

impl Attribute<'_> {
    fn message(&self) -> Message {
        // The type stands in field 20: 1 a float, 2 a whole number, 7 a list of them.
        match *self {
            Self::Real(name, value) => Message::default().text(1, name).float(2, value).number(20, 1),
            Self::Whole(name, value) => Message::default().text(1, name).number(3, value).number(20, 2),
            Self::Wholes(name, values) => {
                let start = Message::default().text(1, name);
                values.iter().fold(start, |message, value| message.number(8, *value)).number(20, 7)
            }
        }
    }
}

/// In what the maps of the blocks are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// As trained.
    #[default]
    F32,
    /// See the module.
    Int8,
}

/// Nodes and constants on their way into a `GraphProto`.
#[derive(Default)]
struct Graph {
    nodes: Message,
    constants: Message,
    maps: Numbers,
}

impl Graph {
    /// A node with one output, which bears the node's name.
    fn node(&mut self, op: &str, name: &str, inputs: &[&str], attributes: &[Attribute<'_>]) -> String {
        self.nodes_of(op, name, inputs, &[name], attributes);
        name.to_owned()
    }

    fn nodes_of(&mut self, op: &str, name: &str, inputs: &[&str], outputs: &[&str], attributes: &[Attribute<'_>]) {
        let mut node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
        node = outputs.iter().fold(node, |node, output| node.text(2, output)).text(3, name).text(4, op);
        node = attributes.iter().fold(node, |node, attribute| node.message(5, &attribute.message()));
        self.nodes = std::mem::take(&mut self.nodes).message(1, &node);
    }

    /// A constant: `TensorProto`.
    fn constant(&mut self, name: &str, shape: &[usize], kind: i64, bytes: &[u8]) {
        let tensor = shape.iter().fold(Message::default(), |tensor, length| tensor.number(1, *length as i64));
        let tensor = tensor.number(2, kind).text(8, name).bytes(9, bytes);
        self.constants = std::mem::take(&mut self.constants).message(5, &tensor);
    }

    fn reals(&mut self, name: &str, shape: &[usize], values: impl Iterator<Item = f32>) {
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        self.constant(name, shape, FLOAT, &bytes);
    }

    fn wholes(&mut self, name: &str, values: &[usize]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| (*value as i64).to_le_bytes()).collect();
        self.constant(name, &[values.len()], INT64, &bytes);
    }

    /// A tensor as it is.
    fn tensor(&mut self, tensors: &NamedTensors, name: &str) {
        let NamedTensor { shape, values } = &tensors[name];
        self.reals(name, shape, values.iter().copied());
    }

    /// `x Wᵀ + b`: MatMul takes the weight `[I, O]`.
    fn linear(&mut self, tensors: &NamedTensors, path: &str, x: &str) -> String {
        if self.maps == Numbers::Int8 {
            return self.whole_linear(tensors, path, x);
        }
        let (weight, bias) = (format!("{path}.weight"), format!("{path}.bias"));
        let NamedTensor { shape, values } = &tensors[&weight];
        let (outputs, inputs) = (shape[0], shape[1]);
        let turned = (0..inputs).flat_map(|i| (0..outputs).map(move |o| values[o * inputs + i]));
        self.reals(&weight, &[inputs, outputs], turned);
        self.tensor(tensors, &bias);
        let product = self.node("MatMul", &format!("{path}.product"), &[x, &weight], &[]);
        self.node("Add", path, &[&product, &bias], &[])
    }

    /// The same in whole numbers.
    fn whole_linear(&mut self, tensors: &NamedTensors, path: &str, x: &str) -> String {
        let [weight, scale, bias] = ["weight", "weight.scale", "bias"].map(|part| format!("{path}.{part}"));
        let NamedTensor { shape, values } = &tensors[&weight];
        let (outputs, inputs) = (shape[0], shape[1]);
        let (whole, scales) = rounded(values, inputs);
        let turned: Vec<u8> = (0..inputs)
            .flat_map(|i| (0..outputs).map(move |o| (i, o)))
            .map(|(i, o)| whole[o * inputs + i].cast_unsigned())
            .collect();
        self.constant(&weight, &[inputs, outputs], INT8, &turned);
        self.reals(&scale, &[outputs], scales.into_iter());
        self.tensor(tensors, &bias);
        let [given, step, zero] = ["given", "step", "zero"].map(|part| format!("{path}.{part}"));
        self.nodes_of("DynamicQuantizeLinear", &format!("{path}.quantised"), &[x], &[&given, &step, &zero], &[]);
        let sums = self.node("MatMulInteger", &format!("{path}.sums"), &[&given, &weight, &zero], &[]);
        let sums = self.node("Cast", &format!("{path}.real"), &[&sums], &[Attribute::Whole("to", FLOAT)]);
        let unit = self.node("Mul", &format!("{path}.unit"), &[&step, &scale], &[]);
        let product = self.node("Mul", &format!("{path}.product"), &[&sums, &unit], &[]);
        self.node("Add", path, &[&product, &bias], &[])
    }

    fn layer_norm(&mut self, tensors: &NamedTensors, path: &str, x: &str, eps: f64, name: &str) -> String {
        let (weight, bias) = (format!("{path}.weight"), format!("{path}.bias"));
        self.tensor(tensors, &weight);
        self.tensor(tensors, &bias);
        let attributes = [Attribute::Whole("axis", -1), Attribute::Real("epsilon", eps as f32)];
        self.node("LayerNormalization", name, &[x, &weight, &bias], &attributes)
    }

    /// `softmax(q kᵀ / √d) v` over heads.
    fn attention(&mut self, tensors: &NamedTensors, path: &str, x: &str) -> String {
        let packed = self.linear(tensors, &format!("{path}.qkv"), x);
        let parts = ["q", "k", "v"].map(|part| format!("{path}.{part}"));
        let outputs = parts.each_ref().map(String::as_str);
        self.nodes_of("Split", &format!("{path}.split"), &[&packed, THIRDS], &outputs, &[Attribute::Whole("axis", -1)]);
        // Queries and values [batch, heads, N, d], keys [batch, heads, d, N].
        let [q, k, v] = [0, 1, 2].map(|i| {
            let order: &[i64] = if i == 1 { &[0, 2, 3, 1] } else { &[0, 2, 1, 3] };
            let heads = self.node("Reshape", &format!("{}.heads", parts[i]), &[&parts[i], SPLIT_HEADS], &[]);
            self.node("Transpose", &format!("{}.turned", parts[i]), &[&heads], &[Attribute::Wholes("perm", order)])
        });
        let q = self.node("Mul", &format!("{path}.scaled"), &[&q, SCALE], &[]);
        let scores = self.node("MatMul", &format!("{path}.scores"), &[&q, &k], &[]);
        let shares = self.node("Softmax", &format!("{path}.shares"), &[&scores], &[Attribute::Whole("axis", -1)]);
        let mixed = self.node("MatMul", &format!("{path}.mixed"), &[&shares, &v], &[]);
        let turned = [Attribute::Wholes("perm", &[0, 2, 1, 3])];
        let mixed = self.node("Transpose", &format!("{path}.mixed.turned"), &[&mixed], &turned);
        let joined = self.node("Reshape", &format!("{path}.joined"), &[&mixed, JOIN_HEADS], &[]);
        self.linear(tensors, &format!("{path}.proj"), &joined)
    }

    /// Two affine maps with `x (1 + erf(x / √2)) / 2` between.
    fn mlp(&mut self, tensors: &NamedTensors, path: &str, x: &str) -> String {
        let x = self.linear(tensors, &format!("{path}.fc1"), x);
        let scaled = self.node("Mul", &format!("{path}.gelu.scaled"), &[&x, SQRT_HALF], &[]);
        let erf = self.node("Erf", &format!("{path}.gelu.erf"), &[&scaled], &[]);
        let share = self.node("Add", &format!("{path}.gelu.share"), &[&erf, ONE], &[]);
        let twice = self.node("Mul", &format!("{path}.gelu.twice"), &[&x, &share], &[]);
        let gelu = self.node("Mul", &format!("{path}.gelu"), &[&twice, HALF], &[]);
        self.linear(tensors, &format!("{path}.fc2"), &gelu)
    }
}

/// A float tensor whose first axis is the batch: `ValueInfoProto`.
fn value(name: &str, rest: &[usize]) -> Message {
    let batch = Message::default().message(1, &Message::default().text(2, BATCH));
    let shape =
        rest.iter().fold(batch, |shape, length| shape.message(1, &Message::default().number(1, *length as i64)));
    let tensor = Message::default().number(1, FLOAT).message(2, &shape);
    Message::default().text(1, name).message(2, &Message::default().message(1, &tensor))
}

/// Rows of `width` weights as whole numbers between −127 and 127, and what one stands for in each row.
fn rounded(weights: &[f32], width: usize) -> (Vec<i8>, Vec<f32>) {
    const MOST: f32 = 127.0;
    let rows = weights.chunks_exact(width.max(1)).map(|row| {
        let largest = row.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let per = if largest > 0.0 { MOST / largest } else { 0.0 };
        (row.iter().map(move |x| (x * per).round_ties_even() as i8), largest / MOST)
    });
    let (whole, scales): (Vec<_>, Vec<_>) = rows.unzip();
    (whole.into_iter().flatten().collect(), scales)
}

/// The bytes of the file. `notes` become the model's metadata.
pub(super) fn model(vit: &Vit, notes: &[(&str, String)], maps: Numbers) -> Result<Vec<u8>, Error> {
    let tensors = weights::read(vit, "");
    let small = |name: &str| maps == Numbers::Int8 && name.starts_with("blocks.") && name.ends_with(".weight");
    let size = |(name, tensor): (&String, &NamedTensor)| tensor.values.len() * if small(name) { 1 } else { 4 };
    let bytes = tensors.iter().map(size).sum::<usize>();
    let config = vit.config();
    if bytes + ROOM * (config.depth + 1) > MOST {
        return Err(Error::Misuse(format!(
            "the encoder's weights take {:.1} GB, and an ONNX file holds 2.1 GB at most: use `--format hf`",
            bytes as f64 / 1e9
        )));
    }
    let (rows, columns) = config.grid();
    let (tokens, width, heads, patch) = (rows * columns, config.width, config.heads, config.patch as i64);
    let mut graph = Graph { maps, ..Graph::default() };
    // A 0 in a Reshape leaves the axis as it is: the batch.
    graph.wholes("raster", &[0, width, tokens]);
    graph.wholes(SPLIT_HEADS, &[0, tokens, heads, width / heads]);
    graph.wholes(JOIN_HEADS, &[0, tokens, width]);
    graph.wholes(THIRDS, &[width; 3]);
    let scale = (1.0 / ((width / heads) as f64).sqrt()) as f32;
    for (name, number) in [(SCALE, scale), (SQRT_HALF, FRAC_1_SQRT_2), (ONE, 1.0), (HALF, 0.5)] {
        graph.reals(name, &[], std::iter::once(number));
    }

    let proj = ["patch_embed.proj.weight", "patch_embed.proj.bias"];
    proj.into_iter().chain(["pos_embed"]).for_each(|name| graph.tensor(&tensors, name));
    let sides = [patch; 2];
    let attributes = [Attribute::Wholes("kernel_shape", &sides), Attribute::Wholes("strides", &sides)];
    let x = graph.node("Conv", "patch_embed.proj", &[INPUT, proj[0], proj[1]], &attributes);
    let x = graph.node("Reshape", "patch_embed.flat", &[&x, "raster"], &[]);
    let x = graph.node("Transpose", "patch_embed", &[&x], &[Attribute::Wholes("perm", &[0, 2, 1])]);
    let mut x = graph.node("Add", "embedded", &[&x, "pos_embed"], &[]);
    for i in 0..config.depth {
        let block = format!("blocks.{i}");
        let eps = vit.blocks[i].norm1.parts().2;
        let normed = graph.layer_norm(&tensors, &format!("{block}.norm1"), &x, eps, &format!("{block}.norm1"));
        let seen = graph.attention(&tensors, &format!("{block}.attn"), &normed);
        x = graph.node("Add", &format!("{block}.attended"), &[&x, &seen], &[]);
        let eps = vit.blocks[i].norm2.parts().2;
        let normed = graph.layer_norm(&tensors, &format!("{block}.norm2"), &x, eps, &format!("{block}.norm2"));
        let thought = graph.mlp(&tensors, &format!("{block}.mlp"), &normed);
        x = graph.node("Add", &block, &[&x, &thought], &[]);
    }
    graph.layer_norm(&tensors, "norm", &x, vit.norm.parts().2, OUTPUT);

    let (height, across) = config.image;
    let graph = graph
        .nodes
        .text(2, "encoder")
        .and(&graph.constants)
        .message(11, &value(INPUT, &[config.channels, height, across]))
        .message(12, &value(OUTPUT, &[tokens, width]));
    let opset = Message::default().text(1, "").number(2, OPSET);
    let model = Message::default().number(1, IR).text(2, "foretell").text(3, env!("CARGO_PKG_VERSION"));
    let model = model.message(7, &graph).message(8, &opset);
    let note = |(name, value): &(&str, String)| Message::default().text(1, name).text(2, value);
    Ok(notes.iter().fold(model, |model, entry| model.message(14, &note(entry))).into_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::tensor::{Tensor, TensorData};
    use foretell_data::random::{Stream, rng};
    use foretell_nn::ImageNetwork;
    use foretell_nn::vit::VitConfig;

    use super::*;

    /// Numbers that every machine makes alike.
    fn numbers(count: usize, start: usize, scale: f32) -> Vec<f32> {
        (start..start + count).map(|i| ((i * 7919 + 13) % 1009) as f32 / 1009.0 - 0.5).map(|x| x * scale).collect()
    }

    /// A network with every tensor away from its neutral value, rows and columns that cannot be confused, two blocks.
    fn small() -> Vit {
        let config = VitConfig { image: (8, 12), patch: 4, channels: 3, width: 8, depth: 2, heads: 2, hidden: 20 };
        let device = crate::DeviceChoice::default().open().unwrap();
        let vit = config.init(&mut rng(0, Stream::Init, 0, 0), &device);
        let mut tensors = weights::read(&vit, "");
        for (place, (name, tensor)) in tensors.iter_mut().enumerate() {
            let neutral = if name.contains("norm") && name.ends_with("weight") { 1.0 } else { 0.0 };
            let values = numbers(tensor.values.len(), 101 * place, 1.5);
            tensor.values = values.into_iter().map(|x| x + neutral).collect();
        }
        weights::load_whole(vit, tensors).unwrap()
    }

    fn held(name: &str) -> PathBuf {
        [env!("CARGO_MANIFEST_DIR"), "tests", "export", name].iter().collect()
    }

    /// The checked-in file was run by ONNX Runtime and by tract (`python bench/peers/export_check.py --small`), which leaves what
    /// they computed beside it. Writing another file is a reason to do that again: this test, run with `FORETELL_REWRITE=1`,
    /// writes it.
    #[test]
    fn the_file_is_the_one_that_other_runtimes_ran_to_the_same_tokens() {
        let vit = small();
        let bytes = model(&vit, &[("image_size", "[8, 12]".to_owned())], Numbers::F32).unwrap();
        if std::env::var_os("FORETELL_REWRITE").is_some() {
            std::fs::write(held("small.onnx"), &bytes).unwrap();
        }
        let known = std::fs::read(held("small.onnx")).unwrap();
        assert!(bytes == known, "{} bytes where small.onnx has {}: it is another file", bytes.len(), known.len());

        let theirs = weights::read_file(&held("small.safetensors")).unwrap();
        let input = &theirs[INPUT];
        assert_eq!(input.shape, [2, 3, 8, 12]);
        let data = TensorData::new(input.values.clone(), [2, 3, 8, 12]);
        let device = crate::DeviceChoice::default().open().unwrap();
        let ours = foretell_ops::values(vit.tokens(Tensor::from_data(data, &device)).tokens);
        assert_eq!(theirs[OUTPUT].shape, [2, 6, 8]);
        let apart = ours.iter().zip(&theirs[OUTPUT].values).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-5, "tokens differ by {apart}");
    }

    /// Named like the nodes that ONNX Runtime's own dynamic quantisation writes, and a byte for each weight of a block.
    #[test]
    fn in_int8_every_map_of_a_block_is_whole_numbers() {
        let vit = small();
        let (whole, short) = (model(&vit, &[], Numbers::F32).unwrap(), model(&vit, &[], Numbers::Int8).unwrap());
        let count =
            |bytes: &[u8], word: &str| bytes.windows(word.len()).filter(|part| *part == word.as_bytes()).count();
        for op in ["DynamicQuantizeLinear", "MatMulInteger", "Cast"] {
            assert_eq!((count(&whole, op), count(&short, op)), (0, 2 * 4), "{op}");
        }
        // In field 9 of a `TensorProto`: row 0 of the first block's map of queries, keys and values, column by column.
        let tensors = weights::read(&vit, "");
        let map = &tensors["blocks.0.attn.qkv.weight"];
        let (rounded, _) = rounded(&map.values, map.shape[1]);
        let turned: Vec<u8> = (0..map.shape[1])
            .flat_map(|i| rounded.iter().skip(i).step_by(map.shape[1]).map(|x| x.cast_unsigned()))
            .collect();
        assert!(short.windows(turned.len()).any(|part| part == turned), "the map's numbers lie in the file");
    }

    #[test]
    fn weights_are_rounded_to_the_nearest_whole_number_of_their_row() {
        let (whole, scales) = rounded(&[1.0, -2.0, 0.5, 0.0, 0.0, 0.0, 63.5, 127.0, -0.5], 3);
        assert_eq!(whole, [64, -127, 32, 0, 0, 0, 64, 127, 0]);
        assert_eq!(scales, [2.0 / 127.0, 0.0, 1.0]);
    }
}
