"""Parts of the confusion benchmark: sound models that nothing may be said against, and what is kept on disk."""
