# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# cmake -DOUTPUT=FILE -DFOLDER=DIR -P EmbedParts.cmake: writes the page's parts as C++ constants.
set(text "#include \"PageParts.h\"\n")
foreach(pair kPageStyle=style.css kPageCharts=charts.js kPageReport=report.js kPageProfile=profile.js)
  string(REGEX MATCH "^(.*)=(.*)$" match ${pair})
  set(name ${CMAKE_MATCH_1})
  file(READ ${FOLDER}/${CMAKE_MATCH_2} content)
  string(APPEND text "const char nag::report::${name}[] = R\"part(${content})part\";\n")
endforeach()
file(WRITE ${OUTPUT} "${text}")
