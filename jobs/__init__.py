"""The programs that run inside a container, one a kind of measurement; torch is imported here and only here."""
