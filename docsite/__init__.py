"""The documentation as a site: pages made from the code, and links between all pages."""
