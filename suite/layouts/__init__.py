"""How data sets lie on disk: one file a layout, each with recognise(root) and index(root)."""
