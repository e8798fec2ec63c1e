//! The names that a pickle may ask for. Whatever is not on this list is refused by its name.

use super::Precision;

/// Names that a pickle may ask for. None of them is called: it is known what they would return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Precision, usize),
    /// What comes of it is [`Node::Plain`].
    Plain,
}

/// What stands behind a name, if it is harmless.
pub(super) fn known(module: &str, name: &str) -> Result<Known, String> {
    Ok(match (module, name) {
        // Lightning keeps a training's settings in a dictionary of its own.
        ("collections", "OrderedDict")
        | (
            "lightning.fabric.utilities.data"
            | "lightning_fabric.utilities.data"
            | "pytorch_lightning.utilities.parsing",
            "AttributeDict",
        ) => Known::OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Known::RebuildTensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Known::RebuildParameter,
        ("torch", "FloatStorage") => Known::Storage(Precision::F32, 4),
        ("torch", "DoubleStorage") => Known::Storage(Precision::F64, 8),
        ("torch", "HalfStorage") => Known::Storage(Precision::F16, 2),
        ("torch", "BFloat16Storage") => Known::Storage(Precision::Bf16, 2),
        ("torch", "LongStorage") => Known::Storage(Precision::I64, 8),
        ("torch", "IntStorage") => Known::Storage(Precision::I32, 4),
        ("torch", "ShortStorage") => Known::Storage(Precision::I16, 2),
        ("torch", "CharStorage") => Known::Storage(Precision::I8, 1),
        ("torch", "ByteStorage") => Known::Storage(Precision::U8, 1),
        ("torch", "BoolStorage") => Known::Storage(Precision::Bool, 1),
        ("torch", "ComplexFloatStorage") => Known::Storage(Precision::Other, 8),
        ("torch", "ComplexDoubleStorage") => Known::Storage(Precision::Other, 16),
        (
            "torch",
            "Size" | "device" | "float32" | "float64" | "float16" | "bfloat16" | "int64" | "int32" | "int16" | "int8"
            | "uint8" | "bool",
        )
        | ("numpy", "dtype" | "ndarray")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct")
        | ("_codecs", "encode")
        | ("collections", "Counter")
        | ("argparse", "Namespace")
        | ("pathlib", "PosixPath" | "WindowsPath")
        | ("builtins" | "__builtin__", "set" | "frozenset" | "bytearray" | "complex") => Known::Plain,
        _ => {
            let name: String = format!("{module}.{name}").chars().take(120).collect();
            return Err(format!(
                "asks for `{}`, which is neither a tensor nor plain data, and nothing of a pickle is ever executed here: open the file in PyTorch where it can be trusted, and save its dictionaries of tensors alone",
                name.escape_debug()
            ));
        }
    })
}
