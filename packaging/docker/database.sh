#!/bin/sh
# Makes the role that owns the tables and the lesser one that the replicas use; PostgreSQL's image runs this once, when
# the database is new.
set -eu
psql --set ON_ERROR_STOP=1 --set owner="$OWNER_PASSWORD" --set server="$SERVER_PASSWORD" \
    --username "${POSTGRES_USER:-postgres}" --dbname "$POSTGRES_DB" <<'SQL'
CREATE ROLE reflexio_mcp LOGIN PASSWORD :'owner';
CREATE ROLE reflexio_mcp_server LOGIN PASSWORD :'server';
CREATE SCHEMA reflexio_mcp AUTHORIZATION reflexio_mcp;
SQL
