"""The catalogue for Athena: tables over Parquet files, a limit on what a question reads, a reader's role."""
