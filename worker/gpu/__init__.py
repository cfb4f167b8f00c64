"""This machine's GPUs according to NVML. Nothing here loads TensorFlow or CUDA."""
