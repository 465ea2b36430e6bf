"""The operators' pages of styles: import, drafts, tests, publishing and retiring."""
