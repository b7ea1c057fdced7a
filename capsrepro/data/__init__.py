"""The data sets, one module each; `batches` has their common interface, `loading` loads any of them."""
