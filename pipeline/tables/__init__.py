"""Files of rows: CSV and Parquet, read strictly, whole or in chunks."""
