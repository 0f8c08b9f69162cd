"""What a developer of the next network works with: a notebook beside the data, images built from a commit."""
