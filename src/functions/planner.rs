//! What the planner cannot know by itself (supportnodes.h).

use pgrx::{pg_extern, pg_guard, pg_sys};

/// Share of the rows for which `mostly()` holds.
const MOSTLY: f64 = 0.98;

#[pg_extern]
fn mostly(condition: bool) -> bool {
    condition
}

/// Version-1 calling convention, by hand: pgrx knows no `internal` results.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_mostly_support_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// Planner support of `mostly(boolean)`: how many rows it leaves.
///
/// # Safety
/// Called by the planner with a pointer to a support request.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn mostly_support_wrapper(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the planner passes a node; its type is looked at before it is taken for more.
    unsafe {
        let argument = pgrx::fcinfo::pg_getarg_datum_raw(call, 0);
        let request = argument.cast_mut_ptr::<pg_sys::Node>();
        if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestSelectivity {
            return pg_sys::Datum::from(0);
        }
        (*request.cast::<pg_sys::SupportRequestSelectivity>()).selectivity = MOSTLY;
        argument
    }
}

/// See above.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_tag_hashes_support_wrapper() -> &'static pg_sys::Pg_finfo_record {
    const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &V1
}

/// Planner support of `tag_hashes(jsonb)` (supportnodes.h): over the tags of a stored event it is `body_tag_hashes` of the
/// body, which is what the index holds.
///
/// # Safety
/// Called by the planner with a pointer to a support request.
#[pg_guard]
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn tag_hashes_support_wrapper(call: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
    // SAFETY: the planner passes a node; its type is looked at before it is taken for more.
    unsafe {
        let request = pgrx::fcinfo::pg_getarg_datum_raw(call, 0).cast_mut_ptr::<pg_sys::Node>();
        if request.is_null() || (*request).type_ != pg_sys::NodeTag::T_SupportRequestSimplify {
            return pg_sys::Datum::from(0);
        }
        let outer = (*request.cast::<pg_sys::SupportRequestSimplify>()).fcall;
        pg_sys::Datum::from(simplified(outer).unwrap_or(std::ptr::null_mut()).cast::<u8>())
    }
}

/// # Safety
/// `outer` is a call of `tag_hashes`.
unsafe fn simplified(outer: *mut pg_sys::FuncExpr) -> Option<*mut pg_sys::FuncExpr> {
    // SAFETY: a function call has a list of arguments; names come from the catalog as C strings or NULL.
    unsafe {
        let arguments = pgrx::PgList::<pg_sys::Node>::from_pg((*outer).args);
        let argument = arguments.get_ptr(0).filter(|node| (**node).type_ == pg_sys::NodeTag::T_FuncExpr)?;
        let inner = argument.cast::<pg_sys::FuncExpr>();
        let namespace = pg_sys::get_func_namespace((*outer).funcid);
        let name = pg_sys::get_func_name((*inner).funcid);
        if name.is_null()
            || std::ffi::CStr::from_ptr(name) != c"body_tags"
            || pg_sys::get_func_namespace((*inner).funcid) != namespace
        {
            return None;
        }
        let schema = pg_sys::get_namespace_name(namespace);
        if schema.is_null() {
            return None;
        }
        let mut path = pgrx::PgList::<std::ffi::c_void>::new();
        path.push(pg_sys::makeString(schema).cast());
        path.push(pg_sys::makeString(pg_sys::pstrdup(c"body_tag_hashes".as_ptr())).cast());
        let target = pg_sys::LookupFuncName(path.into_pg(), 1, [pg_sys::BYTEAOID].as_ptr(), true);
        (target != pg_sys::InvalidOid).then(|| {
            pg_sys::makeFuncExpr(
                target,
                pg_sys::INT4ARRAYOID,
                (*inner).args,
                pg_sys::InvalidOid,
                pg_sys::InvalidOid,
                pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
            )
        })
    }
}
