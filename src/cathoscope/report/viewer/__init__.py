"""The viewer in the browser: a study read chunk by chunk and shown, never changed."""
