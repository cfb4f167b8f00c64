#!/bin/sh
# The PostgreSQL image runs this on an empty volume. The role `quire` owns its database and is no
# superuser: whoever takes over a part of Quire can't read the server's files or run programs on it.
set -eu
# psql reads the password itself: others can read a command line.
psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\set password `cat /run/secrets/postgres_password`
CREATE ROLE quire LOGIN PASSWORD :'password';
CREATE DATABASE quire OWNER quire;
REVOKE CONNECT ON DATABASE quire FROM PUBLIC;
SQL
