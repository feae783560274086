"""Automatic captions: the model in its process, and words as cues."""
