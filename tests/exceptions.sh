#!/bin/sh
# Prints the arguments of a run on PostgreSQL: the cases for PostgreSQL alone are included, those for SQLite alone left out. Each of these
# goes to standard error with its reason.
set -eu
printf -- '--include-ignored '
awk -F '\t' '{
  printf "skipped on PostgreSQL: %s (%s)\n", $1, $2 > "/dev/stderr"
  printf "--skip %s ", $1
}' "$(dirname "$0")/it/exceptions.tsv"
