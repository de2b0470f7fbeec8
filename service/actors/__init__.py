"""One trade a file. Actors never import one another; the supervisor alone knows them all."""
