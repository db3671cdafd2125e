"""The networks that turn features into logits, and the heads that learn clicks, watching and conversions."""
