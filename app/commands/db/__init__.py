"""`portrait db`: the database and what belongs to it; one file for the schema, for backups and for copies."""
