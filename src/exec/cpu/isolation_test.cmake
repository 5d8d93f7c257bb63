# Fails where an object file of kernels_<level>.cpp holds a function that the linker may merge with
# its namesake from another file (nm's W, V and u): the copy it keeps may be compiled for
# instructions that the CPU lacks.
execute_process(COMMAND ${NM} -C --defined-only ${OBJECTS} OUTPUT_VARIABLE symbols RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "${NM} could not read ${OBJECTS}")
endif()
string(REGEX MATCHALL "[0-9a-f]+ [WVu] [^\n]*" mergeable "${symbols}")
if(mergeable)
  message(FATAL_ERROR "mergeable functions in kernels compiled with flags of their own: ${mergeable}")
endif()
