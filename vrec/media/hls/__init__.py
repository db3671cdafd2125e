"""HTTP Live Streaming: the last seconds of a live stream, fetched within limits and decoded in a sandbox."""
