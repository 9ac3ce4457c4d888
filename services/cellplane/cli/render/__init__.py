"""How resources look: documents, tables, trees, differences. Words and colours only for people."""
