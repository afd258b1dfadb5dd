"""What the runs below a folder came to: rows, ranked; tables; figures; files."""
