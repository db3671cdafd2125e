"""What is known of a shopper, a video, a streamer or a creator from the events so far."""
