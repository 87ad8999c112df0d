#include "core/local/identity.h"

#include <grp.h>
#include <pwd.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace::local {
namespace {

Result<Identity> of_entry(const passwd* entry, const std::string& what) {
  if (entry == nullptr) return fail(Errc::not_found, "unknown user: " + what);
  return Identity{entry->pw_uid, entry->pw_gid, entry->pw_name, entry->pw_dir, entry->pw_shell};
}

}  // namespace

Result<Identity> find_identity(const std::string& user, const std::string& group) {
  auto out = of_entry(::getpwnam(user.c_str()), user);
  if (!out || group.empty()) return out;
  const ::group* entry = ::getgrnam(group.c_str());
  if (entry == nullptr) return fail(Errc::not_found, "unknown group: " + group);
  out->gid = entry->gr_gid;
  return out;
}

Result<Identity> find_identity(uid_t uid) { return of_entry(::getpwuid(uid), std::to_string(uid)); }

Result<void> take_identity(const Identity& identity) {
  if (identity.uid == 0 || identity.gid == 0) return fail(Errc::refused, "nothing runs with the rights of root");
  if (::geteuid() != 0) {
    if (identity.uid == ::geteuid()) return {};
    return fail(Errc::refused, "started without root: cannot become " + identity.name);
  }
  const gid_t gid = identity.gid;
  if (::setgroups(1, &gid) != 0 || ::setresgid(gid, gid, gid) != 0 ||
      ::setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    return fail(Errc::io, "cannot become " + identity.name + ": " + std::strerror(errno));
  }
  if (::setuid(0) == 0 || ::seteuid(0) == 0 || ::setgid(0) == 0) return fail(Errc::io, "root could be taken back");
  return {};
}

Result<void> take_ownership(gid_t gid) {
  if (::geteuid() != 0) return fail(Errc::refused, "started without root: cannot write what is root's");
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct none[2] = {};
  if (::setgroups(1, &gid) != 0 || ::setresgid(gid, gid, gid) != 0 || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      ::syscall(SYS_capset, &header, none) != 0) {
    return fail(Errc::io, std::string("cannot give up root's powers: ") + std::strerror(errno));
  }
  if (::setgroups(0, nullptr) == 0) return fail(Errc::io, "root's powers are still there");
  return {};
}

}  // namespace millrace::local
