#pragma once

#include <variant>

#include "program/steps/activate.h"
#include "program/steps/add.h"
#include "program/steps/add_positions.h"
#include "program/steps/append.h"
#include "program/steps/attend.h"
#include "program/steps/embed.h"
#include "program/steps/gather_rows.h"
#include "program/steps/head.h"
#include "program/steps/linear.h"
#include "program/steps/norm.h"
#include "program/steps/rotate.h"
#include "program/steps/scale.h"

namespace quern {

/// Every kind of step. To add one: write steps/<name>.h (meaning, shapes, cost, reference) and name
/// it here; each executor then refuses it by name until it has a form of its own.
using Step = std::variant<  //
    Activate,               //
    Add,                    //
    AddPositions,           //
    Append,                 //
    Attend,                 //
    Embed,                  //
    GatherRows,             //
    Head,                   //
    Linear,                 //
    Norm,                   //
    Rotate,                 //
    Scale>;

}  // namespace quern
