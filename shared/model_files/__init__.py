"""The file of an exported model: a safetensors file with two entries of metadata."""
