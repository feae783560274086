"""Tests of the transcoder."""
