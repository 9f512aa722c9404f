#!/usr/bin/env bash
# Create the lake's users of the stream and of the nights, each with the policy beside this file;
# tillstream-analyst is there for readers of yours. Safe to repeat; a new secret key wins.
# Only bash and mc: the image has little else.
set -euo pipefail

export MC_CONFIG_DIR=${MC_CONFIG_DIR:-/tmp/mc}

# user, secret, service
grant() {
  local refusal
  mc admin user add admin "$1" "$2"
  # Attaching an attached policy is an error to mc, and what we want.
  if ! refusal=$(mc admin policy attach admin "tillstream-$3" --user "$1" 2>&1); then
    if [[ $refusal != *"already in effect"* ]]; then
      printf '%s\n' "$refusal" >&2
      exit 1
    fi
  fi
}

mc alias set admin "$MINIO_ENDPOINT" "$MINIO_ROOT_USER" "$MINIO_ROOT_PASSWORD"
for service in stream nights analyst; do
  mc admin policy create admin "tillstream-$service" "${0%/*}/$service-policy.json"
done
grant "$LAKE_ACCESS_KEY" "$LAKE_SECRET_KEY" stream
grant "$NIGHTS_ACCESS_KEY" "$NIGHTS_SECRET_KEY" nights
