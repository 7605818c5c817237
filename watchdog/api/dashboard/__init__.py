"""The pages: HTML made on the server, kept fresh by a small script."""
