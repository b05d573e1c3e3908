# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Helpers that declare this project's targets with one set of warnings and include paths.

# nag_settings(TARGET): warnings, include paths and sanitizers shared by every target.
function(nag_settings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow $<$<COMPILE_LANGUAGE:CXX>:-Wnon-virtual-dtor>)
  target_include_directories(${target} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include> $<INSTALL_INTERFACE:include>)
  # Generated headers count as system headers: their warnings are not ours.
  target_include_directories(${target} SYSTEM PUBLIC
    $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/include>)
  if(NAG_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-omit-frame-pointer
      # The CUDA driver is called by the types that we declare.
      -fno-sanitize=vptr $<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>
      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  endif()
endfunction()

# nag_precompile(TARGET): the target's sources start with MLIR's headers, which one target has parsed for all.
function(nag_precompile target)
  if(NOT NAG_PRECOMPILE_HEADERS OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    return()
  endif()
  if(NOT TARGET NagPrecompiledHeaders)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/NagPrecompiledHeaders.cpp CONTENT "" @ONLY)
    add_library(NagPrecompiledHeaders OBJECT ${PROJECT_BINARY_DIR}/NagPrecompiledHeaders.cpp)
    target_include_directories(NagPrecompiledHeaders SYSTEM PRIVATE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
    target_compile_definitions(NagPrecompiledHeaders PRIVATE ${LLVM_DEFINITIONS_LIST})
    nag_settings(NagPrecompiledHeaders)
    target_precompile_headers(NagPrecompiledHeaders PRIVATE ${PROJECT_SOURCE_DIR}/cmake/PrecompiledHeaders.h)
    # The time of the file would make every build's header another one to ccache.
    target_compile_options(NagPrecompiledHeaders PRIVATE "SHELL:-Xclang -fno-pch-timestamp")
  endif()
  target_precompile_headers(${target} REUSE_FROM NagPrecompiledHeaders)
endfunction()

# nag_library(NAME sources... [LINK libs...] [DEPENDS targets...]): a static library that uses MLIR/LLVM.
function(nag_library name)
  cmake_parse_arguments(ARG "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} SYSTEM PUBLIC ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_compile_definitions(${name} PUBLIC ${LLVM_DEFINITIONS_LIST})
  nag_settings(${name})
  nag_precompile(${name})
  target_link_libraries(${name} PUBLIC ${ARG_LINK} MLIR LLVM)
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# nag_tool(NAME sources... [LINK libs...]): an executable in build/bin.
function(nag_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} SYSTEM PRIVATE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  nag_settings(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()
