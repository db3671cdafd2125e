# The environment of every node of a cluster, when its Ray starts. cluster.yaml has nodes source it; on nodes that are
# started by hand: `. deploy/node-env.sh && ray start …`.
#
# Secrets are files in one folder, ~/secrets or where VREC_SECRETS says, readable by their owner only:
#   auth_token   Ray's token: who has it can run programs on the cluster
#   api_keys     for `vrec serve`: entries as `vrec serve --new-key NAME:SCOPES` prints them, one a line
#   redis_url    for `vrec serve`: redis://user:password@host:6379/0
# Only auth_token is needed where nothing is served.
secrets="${VREC_SECRETS:-$HOME/secrets}"
export PATH="$HOME/vrec-env/bin:$PATH"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$secrets/auth_token"
export VREC_API_KEYS_FILE="$secrets/api_keys" VREC_REDIS_URL_FILE="$secrets/redis_url"
# Serve's proxies log and echo any X-Request-ID otherwise.
export RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH=vrec.serving.http.request_ids:proxy_middlewares
# Ray's own is 300 s: so long would a call be waited for at a machine that is gone without a word.
export RAY_grpc_client_keepalive_time_ms=15000 RAY_grpc_client_keepalive_timeout_ms=15000
unset secrets
