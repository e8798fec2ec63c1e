//! Layers and networks: position codes, transformer blocks, ViT, conv encoders; official weight names.
