"""Images that requests bring: one body, the files of a form, the members of an archive."""
