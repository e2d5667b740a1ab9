# Writes a source that names a folder of this machine, as merged microkernels do.
file(WRITE "${OUT}" "#include \"${SOURCES}/src/merged.c\"\n")
