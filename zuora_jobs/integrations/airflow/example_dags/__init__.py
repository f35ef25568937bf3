"""Examples to be copied into a folder of DAGs."""
