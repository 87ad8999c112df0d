# find_package(MillracePlugin) gives the target Millrace::plugin (headers) and
#   millrace_plugin(NAME SOURCE ...)   a loadable plugin NAME.so that exports one symbol.
get_filename_component(_millrace_prefix "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
if(NOT TARGET Millrace::plugin)
  add_library(Millrace::plugin INTERFACE IMPORTED)
  set_target_properties(Millrace::plugin PROPERTIES INTERFACE_INCLUDE_DIRECTORIES "${_millrace_prefix}/include")
endif()
set(_millrace_export_map "${CMAKE_CURRENT_LIST_DIR}/export.map")
function(millrace_plugin name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE Millrace::plugin)
  target_link_options(${name} PRIVATE "-Wl,--version-script=${_millrace_export_map}")
  set_target_properties(${name} PROPERTIES PREFIX "" C_VISIBILITY_PRESET hidden CXX_VISIBILITY_PRESET hidden
    VISIBILITY_INLINES_HIDDEN ON C_STANDARD 11 CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON LINK_DEPENDS ${_millrace_export_map})
endfunction()
