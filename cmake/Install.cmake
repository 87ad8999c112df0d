# `cmake --install`: the program under its own name and Postfix's, the setgid postdrop, manual pages, the unit.
#   sbin/millrace  sbin/{postfix,postconf,…} -> millrace  libexec/millrace/postdrop  share/man  lib/systemd/system
# The default prefix keeps all of it apart from a Postfix of the distribution.
include(GNUInstallDirs)
set(MILLRACE_LINKS postfix postconf postmap postalias newaliases postqueue mailq postsuper postcat sendmail)
install(TARGETS millrace RUNTIME DESTINATION ${CMAKE_INSTALL_SBINDIR})
install(TARGETS postdrop RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/millrace)
file(GLOB pages1 ${CMAKE_SOURCE_DIR}/contrib/man/*.1)
install(FILES ${pages1} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${CMAKE_SOURCE_DIR}/contrib/man/main.cf.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 RENAME millrace-main.cf.5)
install(FILES ${CMAKE_SOURCE_DIR}/contrib/man/millrace.8 DESTINATION ${CMAKE_INSTALL_MANDIR}/man8)
install(CODE "
  set(root \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\")
  set(SBINDIR \"\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_SBINDIR}\")
  foreach(link ${MILLRACE_LINKS})
    file(CREATE_LINK millrace \"\${root}/${CMAKE_INSTALL_SBINDIR}/\${link}\" SYMBOLIC)
  endforeach()
  configure_file(\"${CMAKE_SOURCE_DIR}/contrib/systemd/millrace.service.in\"
    \"\${root}/lib/systemd/system/millrace.service\" @ONLY)
  set(postdrop \"\${root}/${CMAKE_INSTALL_LIBEXECDIR}/millrace/postdrop\")
  # Local users submit with the rights of this group; without it only root can, which a package must mend.
  execute_process(COMMAND chgrp postdrop \"\${postdrop}\" RESULT_VARIABLE failed ERROR_QUIET)
  if(failed)
    message(WARNING \"\${postdrop}: cannot be given to the group postdrop: make the group, and the file setgid to it\")
  else()
    execute_process(COMMAND chmod 2755 \"\${postdrop}\")
  endif()
")
