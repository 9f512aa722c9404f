#!/usr/bin/env bash
# Create the stream's user of the lake and give it stream-policy.json; tillstream-analyst is there
# for readers of yours. Safe to repeat; a new LAKE_SECRET_KEY wins.
# Only bash and mc: the image has little else.
set -euo pipefail

export MC_CONFIG_DIR=${MC_CONFIG_DIR:-/tmp/mc}

mc alias set admin "$MINIO_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"
mc admin user add admin "$LAKE_ACCESS_KEY" "$LAKE_SECRET_KEY"
mc admin policy create admin tillstream-stream "${0%/*}/stream-policy.json"
mc admin policy create admin tillstream-analyst "${0%/*}/analyst-policy.json"
# Attaching an attached policy is an error to mc, and what we want.
if ! refusal=$(mc admin policy attach admin tillstream-stream --user "$LAKE_ACCESS_KEY" 2>&1); then
  if [[ $refusal != *"already in effect"* ]]; then
    printf '%s\n' "$refusal" >&2
    exit 1
  fi
fi
