"""Bytes on disk: replacing a file atomically, telling formats apart, reading a safetensors header strictly."""
