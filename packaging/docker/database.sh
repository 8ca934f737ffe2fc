#!/bin/sh
# Makes the role that the replicas use; PostgreSQL's image runs this once, when the database is new.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$SERVER_PASSWORD" \
    --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE reflexio_mcp LOGIN PASSWORD :'password';
CREATE SCHEMA reflexio_mcp AUTHORIZATION reflexio_mcp;
SQL
