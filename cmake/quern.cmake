# What every target shares: warnings, sanitizers, the fast linker, ccache.

find_program(QUERN_CCACHE ccache)
if(QUERN_CCACHE)
  # The compiler checks precompiled headers itself. By what was read, not by preprocessed text: a
  # header that differs in a comment alone would bring back an older precompiled header, in which
  # `#pragma once` then does not know it again.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_DEPEND=1 CCACHE_SLOPPINESS=pch_defines,time_macros ${QUERN_CCACHE})
endif()

# Kernels ask for more where they are compiled; everything else gains nothing from -O3 but minutes.
set(CMAKE_CXX_FLAGS_RELEASE "-O2 -DNDEBUG")

add_library(quern_options INTERFACE)
target_include_directories(quern_options INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(quern_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -fno-omit-frame-pointer -ffp-contract=off
  $<$<BOOL:${QUERN_WERROR}>:-Werror>)

find_program(QUERN_MOLD mold)
if(QUERN_MOLD)
  target_link_options(quern_options INTERFACE -fuse-ld=mold)
endif()

if(QUERN_SANITIZE)
  # Lines alone, of what a debugger wants to know: a quarter less time to compile.
  target_compile_options(quern_options INTERFACE -fsanitize=${QUERN_SANITIZE}
    -fno-sanitize-recover=all -O1 $<IF:$<CXX_COMPILER_ID:Clang>,-gline-tables-only,-g1>)
  target_link_options(quern_options INTERFACE -fsanitize=${QUERN_SANITIZE})
endif()
if(QUERN_FUZZERS)
  target_compile_options(quern_options INTERFACE -fsanitize=fuzzer-no-link)
endif()

# `unit_tests` and `fuzzers` build every test and every fuzz target, `thread_tests` the tests that the
# thread sanitizer runs, nothing else.
add_custom_target(unit_tests)
add_custom_target(thread_tests)
add_custom_target(fuzzers)

# quern_precompile(TARGET HEADERS...): what nearly every file of it includes is read once; of
# libraries alone, for these change with the system, not with a commit.
function(quern_precompile target)
  target_precompile_headers(${target} PRIVATE <algorithm> <functional> <map> <memory> <optional>
    <span> <string> <variant> <vector> <nlohmann/json.hpp> ${ARGN})
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 takes code of the standard library for ours where it comes precompiled, and its strings
    # and variants for overrun or unset.
    target_compile_options(${target} PRIVATE -Wno-array-bounds -Wno-stringop-overflow
      -Wno-stringop-overread -Wno-maybe-uninitialized)
  endif()
endfunction()

# quern_folder(NAME DEPENDS...): the library quern_NAME of the sources in this folder and below it
# that are not tests, and the test NAME_test of those that are. A fuzz target is a file
# NAME_fuzz.cpp; its seeds are in fuzz/NAME.
function(quern_folder name)
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_(test|fuzz|bench)\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  set(fuzzers ${all})
  list(FILTER fuzzers INCLUDE REGEX "_fuzz\\.cpp$")

  string(REPLACE "/" "_" target ${name})
  if(sources)
    add_library(quern_${target} STATIC ${sources})
    set(scope PUBLIC)
  else()
    add_library(quern_${target} INTERFACE)
    set(scope INTERFACE)
  endif()
  target_link_libraries(quern_${target} ${scope} quern_options ${ARGN})
  # Never for exec/cpu: kernels must not see inline functions of other headers.
  if(name MATCHES "^(text|models|engine|llm|measure|server|cli)$")
    quern_precompile(quern_${target})
  endif()

  if(tests)
    add_executable(${target}_test ${tests})
    target_link_libraries(${target}_test PRIVATE quern_${target} GTest::gtest_main)
    list(LENGTH tests num_tests)
    if(num_tests GREATER 2)
      quern_precompile(${target}_test <gtest/gtest.h>)
    endif()
    target_compile_definitions(${target}_test PRIVATE QUERN_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    add_test(NAME ${target} COMMAND ${target}_test)
    set(labels unit)
    if(target MATCHES "^(base|engine|exec_cpu)$")
      list(APPEND labels threads)
      add_dependencies(thread_tests ${target}_test)
    endif()
    set_tests_properties(${target} PROPERTIES TIMEOUT 900 LABELS "${labels}")
    add_dependencies(unit_tests ${target}_test)
  endif()

  if(QUERN_FUZZERS)
    foreach(source ${fuzzers})
      get_filename_component(fuzzer ${source} NAME_WE)
      add_executable(${fuzzer} ${source})
      target_link_libraries(${fuzzer} PRIVATE quern_${target})
      target_link_options(${fuzzer} PRIVATE -fsanitize=fuzzer)
      add_dependencies(fuzzers ${fuzzer})
    endforeach()
  endif()
endfunction()
