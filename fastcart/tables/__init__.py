"""Tables as people write them: delimited text, workbooks and Parquet in, whole files out; ids of patients."""
