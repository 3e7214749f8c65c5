//! Arrow schemas of what is declared; values, Parquet in and out.
