"""The plugins that come with Drover; one folder each, the same file names in each."""
