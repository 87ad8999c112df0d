// Table types that are not built in: who opens "geo:NAME".
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "core/base/result.h"

namespace millrace::map {

class Named;

// nullptr: it knows no such type.
using ForeignTypes = std::function<Result<std::shared_ptr<Named>>(std::string_view type, std::string_view argument)>;

// For all TableSets of this process from now on.  At start, before there are threads.
void use_foreign_types(ForeignTypes types);

}  // namespace millrace::map
