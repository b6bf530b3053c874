"""One file a survey: its columns, flags, downloads and published selections."""
