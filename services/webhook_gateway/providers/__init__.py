"""The payment providers, one file each; `base` says what one is, `registry` which there are."""
