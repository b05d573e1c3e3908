# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake --install: tools, headers, libraries and package files in one tree that may be moved. Another project says
# find_package(Nag CONFIG), with Nag_DIR=<tree>/lib/cmake/nag, and links Nag::NagDialect, Nag::NagDriver, ...
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# nag_collect(FOLDER VARIABLE): the targets of a folder and of those below it.
function(nag_collect folder variable)
  get_property(found DIRECTORY ${folder} PROPERTY BUILDSYSTEM_TARGETS)
  get_property(nested DIRECTORY ${folder} PROPERTY SUBDIRECTORIES)
  foreach(entry IN LISTS nested)
    nag_collect(${entry} deeper)
    list(APPEND found ${deeper})
  endforeach()
  set(${variable} ${found} PARENT_SCOPE)
endfunction()

nag_collect(${PROJECT_SOURCE_DIR}/lib libraries)
nag_collect(${PROJECT_SOURCE_DIR}/tools tools)
foreach(target IN LISTS libraries)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL STATIC_LIBRARY)
    install(TARGETS ${target} EXPORT NagTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT nag)
  elseif(type STREQUAL SHARED_LIBRARY)
    install(TARGETS ${target} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT nag OPTIONAL)
  endif()
endforeach()
# The PTX machine under the driver's name, for ptx-vm exec.
install(DIRECTORY ${CMAKE_LIBRARY_OUTPUT_DIRECTORY}/ptxvm-cuda DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT nag)
foreach(target IN LISTS tools)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL EXECUTABLE)
    install(TARGETS ${target} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT nag)
  endif()
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/nag DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT nag
  FILES_MATCHING PATTERN "*.h" PATTERN "*.td")
install(DIRECTORY ${PROJECT_BINARY_DIR}/include/nag DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT nag
  FILES_MATCHING PATTERN "*.inc" PATTERN "CMakeFiles" EXCLUDE)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/nag COMPONENT nag)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/nag)
install(EXPORT NagTargets NAMESPACE Nag:: DESTINATION ${package} COMPONENT nag)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/NagConfig.cmake.in ${PROJECT_BINARY_DIR}/NagConfig.cmake
  INSTALL_DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/NagConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/NagConfig.cmake ${PROJECT_BINARY_DIR}/NagConfigVersion.cmake
  DESTINATION ${package} COMPONENT nag)
