// Loading plugin files: see library.h.
#include "core/plugin/library.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/base/strings.h"

namespace millrace::plugin {
namespace {

constexpr std::uint32_t kMaxDescriptors = 64;
constexpr std::uint32_t kAllStages = (MR_STAGE_UNKNOWN << 1) - 1;
constexpr std::uint32_t kHeaderStages = MR_STAGE_MESSAGE | MR_STAGE_MAIL | MR_STAGE_RCPT | MR_STAGE_DATA;
constexpr std::uint32_t kAllEdits = MR_EDIT_HEADERS | MR_EDIT_BODY | MR_EDIT_ENVELOPE;
constexpr std::uint32_t kAllTraits = MR_TRAIT_BLOCKS | MR_TRAIT_DETERMINISTIC | MR_TRAIT_NETWORK | MR_TRAIT_FILES;

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  int get() const { return fd_; }
  void keep_open() { fd_ = -1; }

 private:
  int fd_;
};

// "" when only root or we can write it.
std::string distrust(int fd, mode_t type) {
  struct stat st;
  if (fstat(fd, &st) != 0) return std::strerror(errno);
  if ((st.st_mode & S_IFMT) != type) return type == S_IFDIR ? "is not a directory" : "is not a regular file";
  if (st.st_uid != 0 && st.st_uid != geteuid()) return "is not owned by root or the user that runs this";
  if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0) return "is writable by group or others";
  return {};
}

std::string describe_problem(const mr_descriptor* d) {
  if (d == nullptr) return "a descriptor is missing";
  if (!MR_HAS(mr_descriptor, d, config_schema)) return "a descriptor is too short";
  if (d->id == nullptr || !is_plugin_name(d->id)) return "a descriptor has no usable id";
  const std::string who = "filter " + std::string(d->id) + " ";
  if (d->version == nullptr || d->summary == nullptr) return who + "has no version or summary";
  if (d->stages == 0 || (d->stages & ~kAllStages) != 0) return who + "declares no stages, or unknown ones";
  if ((d->edits & ~kAllEdits) != 0) return who + "declares unknown edits";
  if ((d->traits & ~kAllTraits) != 0) return who + "declares unknown traits";
  // Fields of the header can be given before the message is there; nothing else can.
  const std::uint32_t needed = (d->edits & ~std::uint32_t{MR_EDIT_HEADERS}) != 0 ? std::uint32_t{MR_STAGE_MESSAGE} : kHeaderStages;
  if (d->edits != 0 && (d->stages & needed) == 0) return who + "declares edits but not the stage for them";
  if (d->threads > MR_THREADS_FREE || d->body_need > MR_BODY_WHOLE || d->status > MR_STATUS_WIP ||
      d->posture > MR_POSTURE_TRUSTED_ONLY) {
    return who + "has a field out of range";
  }
  return {};
}

}  // namespace

bool is_plugin_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return is_alnum(c) || c == '_' || c == '-';
  });
}

Result<std::shared_ptr<const Library>> Library::from_entry(std::string name, const mr_entry* entry) {
  const auto wrong = [&](const std::string& what) { return fail(Errc::config, "plugin " + name + ": " + what); };
  if (entry == nullptr || !MR_HAS(mr_entry, entry, abi_draft)) return wrong("its entry is missing or too short");
  if (entry->abi_major != MR_ABI_MAJOR || entry->abi_draft != MR_ABI_DRAFT) {
    return wrong("built for plugin ABI " + std::to_string(entry->abi_major) + " draft " + std::to_string(entry->abi_draft) +
                 "; this millrace has ABI " + std::to_string(MR_ABI_MAJOR) + " draft " + std::to_string(MR_ABI_DRAFT) +
                 ": build it again with this version's headers");
  }
  if (!MR_HAS(mr_entry, entry, create) || entry->describe == nullptr || entry->create == nullptr) {
    return wrong("its entry is incomplete");
  }
  if (entry->count == 0 || entry->count > kMaxDescriptors) return wrong("it has no filters, or too many");
  auto library = std::make_shared<Library>();
  library->name_ = name;
  library->entry_ = entry;
  for (std::uint32_t i = 0; i < entry->count; ++i) {
    const mr_descriptor* const one = entry->describe(i);
    if (const std::string problem = describe_problem(one); !problem.empty()) return wrong(problem);
    if (library->find(one->id) != nullptr) return wrong("two filters are called " + std::string(one->id));
    library->descriptors_.push_back(one);
  }
  return library;
}

Result<std::shared_ptr<const Library>> Library::open(const std::string& directory, std::string_view name) {
  if (!is_plugin_name(name)) return fail(Errc::config, "\"" + printable(name) + "\" is no name of a plugin");
  const std::string file = directory + "/" + std::string(name) + ".so";
  const Fd dir(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.get() < 0) return fail(Errc::not_found, directory + ": " + std::strerror(errno));
  if (const std::string why = distrust(dir.get(), S_IFDIR); !why.empty()) return fail(Errc::config, directory + " " + why);
  Fd object(::openat(dir.get(), (std::string(name) + ".so").c_str(), O_RDONLY | O_CLOEXEC));
  if (object.get() < 0) return fail(Errc::not_found, file + ": " + std::strerror(errno));
  if (const std::string why = distrust(object.get(), S_IFREG); !why.empty()) return fail(Errc::config, file + " " + why);
  // By descriptor: what was checked is what is loaded.  glibc knows libraries by the name they were loaded
  // under first, so the number must not be used again for another one: it stays open.
  void* const handle = dlopen(("/proc/self/fd/" + std::to_string(object.get())).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr) {
    const char* const why = dlerror();
    return fail(Errc::config, file + ": " + (why != nullptr ? why : "cannot be loaded"));
  }
  object.keep_open();
  const auto entry = reinterpret_cast<mr_entry_function>(dlsym(handle, MR_ENTRY_SYMBOL));
  if (entry == nullptr) return fail(Errc::config, file + ": no function " MR_ENTRY_SYMBOL ": not a plugin");
  return from_entry(std::string(name), entry());
}

const mr_descriptor* Library::find(std::string_view id) const {
  if (id.empty()) return descriptors_.empty() ? nullptr : descriptors_.front();
  for (const mr_descriptor* const one : descriptors_) {
    if (id == one->id) return one;
  }
  return nullptr;
}

Result<std::vector<std::string>> plugin_names(const std::string& directory) {
  DIR* const dir = opendir(directory.c_str());
  if (dir == nullptr) return fail(Errc::not_found, directory + ": " + std::strerror(errno));
  std::vector<std::string> names;
  while (const dirent* const one = readdir(dir)) {
    const std::string_view file = one->d_name;
    if (file.ends_with(".so") && is_plugin_name(file.substr(0, file.size() - 3))) {
      names.emplace_back(file.substr(0, file.size() - 3));
    }
  }
  closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace millrace::plugin
