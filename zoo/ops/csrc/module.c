/* The extension module igan_zoo.ops._kernels, for every CPython from 3.11 on (limited API, see setup.py). Arrays come
 * and go through the buffer protocol; every shape and type is checked here again, because C would read past an end. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "jpeg_eighth.h"
#include "minibatch_discrimination.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>

static bool is_row_major_real(const Py_buffer *view, int dimensions)
{
    return view->ndim == dimensions && view->format != NULL &&
           (strcmp(view->format, "f") == 0 || strcmp(view->format, "d") == 0);
}

static const struct implementation *find_implementation(const char *name)
{
    for (const struct implementation *const *usable = usable_implementations(); *usable != NULL; usable++)
        if (strcmp((*usable)->name, name) == 0)
            return *usable;
    PyErr_Format(PyExc_ValueError, "this processor cannot run the instruction set '%s'.", name);
    return NULL;
}

/* Checks that the arrays fit together and computes without the interpreter's lock. */
static PyObject *compute(const Py_buffer *activations, const Py_buffer *grad_output, const Py_buffer *result,
                         int threads, const char *instruction_set)
{
    const struct implementation *implementation = find_implementation(instruction_set);
    if (implementation == NULL)
        return NULL;
    const Py_buffer *output = grad_output != NULL ? grad_output : result;
    bool fit = is_row_major_real(activations, 3) && is_row_major_real(output, 2) &&
               is_row_major_real(result, grad_output != NULL ? 3 : 2) &&
               strcmp(activations->format, output->format) == 0 && strcmp(activations->format, result->format) == 0 &&
               activations->shape[0] == output->shape[0] && activations->shape[1] == output->shape[1];
    for (int dimension = 0; fit && dimension < 3; dimension++)
        fit = activations->shape[dimension] > 0 &&
              (grad_output == NULL || activations->shape[dimension] == result->shape[dimension]);
    if (!fit) {
        PyErr_SetString(PyExc_ValueError,
                        "the arrays must be float32 or float64 alike, not empty, M [N, B, C] and o [N, B].");
        return NULL;
    }
    if (threads < 1) {
        PyErr_Format(PyExc_ValueError, "%d threads: give 1 or more.", threads);
        return NULL;
    }
    const struct shape shape = {(size_t)activations->shape[0], (size_t)activations->shape[1],
                                (size_t)activations->shape[2]};
    const enum precision precision = activations->format[0] == 'f' ? SINGLE_PRECISION : DOUBLE_PRECISION;
    bool done;
    Py_BEGIN_ALLOW_THREADS;
    done = minibatch_discrimination(implementation, precision, activations->buf,
                                    grad_output != NULL ? grad_output->buf : NULL, result->buf, shape, threads);
    Py_END_ALLOW_THREADS;
    if (!done)
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

enum { READ = PyBUF_ND | PyBUF_FORMAT | PyBUF_C_CONTIGUOUS, WRITE = READ | PyBUF_WRITABLE };

static PyObject *forward(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *activations, *output, *result = NULL;
    int threads;
    const char *instruction_set;
    Py_buffer m, o;
    if (!PyArg_ParseTuple(arguments, "OOis", &activations, &output, &threads, &instruction_set))
        return NULL;
    if (PyObject_GetBuffer(activations, &m, READ) < 0)
        return NULL;
    if (PyObject_GetBuffer(output, &o, WRITE) == 0) {
        result = compute(&m, NULL, &o, threads, instruction_set);
        PyBuffer_Release(&o);
    }
    PyBuffer_Release(&m);
    return result;
}

static PyObject *backward(PyObject *module, PyObject *arguments)
{
    (void)module;
    PyObject *activations, *grad_output, *grad_activations, *result = NULL;
    int threads;
    const char *instruction_set;
    Py_buffer m, grad_o, grad_m;
    if (!PyArg_ParseTuple(arguments, "OOOis", &activations, &grad_output, &grad_activations, &threads,
                          &instruction_set))
        return NULL;
    if (PyObject_GetBuffer(activations, &m, READ) < 0)
        return NULL;
    if (PyObject_GetBuffer(grad_output, &grad_o, READ) == 0) {
        if (PyObject_GetBuffer(grad_activations, &grad_m, WRITE) == 0) {
            result = compute(&m, &grad_o, &grad_m, threads, instruction_set);
            PyBuffer_Release(&grad_m);
        }
        PyBuffer_Release(&grad_o);
    }
    PyBuffer_Release(&m);
    return result;
}

static PyObject *default_threads(PyObject *module, PyObject *nothing)
{
    (void)module, (void)nothing;
    return PyLong_FromLong(omp_get_max_threads());
}

/* Returns (width, height, pixels) with the memory of a plane. */
static PyObject *new_plane(struct jpeg_plane *plane)
{
    PyObject *pixels = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(plane->width * plane->height));
    if (pixels == NULL)
        return NULL;
    plane->pixels = (uint8_t *)PyBytes_AsString(pixels);
    return Py_BuildValue("(nnN)", (Py_ssize_t)plane->width, (Py_ssize_t)plane->height, pixels);
}

static PyObject *read_planes(struct jpeg *jpeg)
{
    PyObject *planes = PyTuple_New(jpeg->components);
    for (int number = 0; planes != NULL && number < jpeg->components; number++) {
        PyObject *plane = new_plane(&jpeg->component[number].plane);
        if (plane == NULL || PyTuple_SetItem(planes, number, plane) < 0) {
            Py_DECREF(planes);
            return NULL;
        }
    }
    if (planes == NULL)
        return NULL;
    bool done;
    Py_BEGIN_ALLOW_THREADS;
    done = jpeg_read_planes(jpeg);
    Py_END_ALLOW_THREADS;
    if (done)
        return planes;
    Py_DECREF(planes);
    Py_RETURN_NONE;
}

static PyObject *jpeg_eighth(PyObject *module, PyObject *arguments)
{
    (void)module;
    Py_buffer content;
    Py_ssize_t width, height;
    if (!PyArg_ParseTuple(arguments, "y*nn", &content, &width, &height))
        return NULL;
    PyObject *result = NULL;
    struct jpeg *jpeg = malloc(sizeof *jpeg);
    if (jpeg == NULL)
        PyErr_NoMemory();
    else if (jpeg_read_header(jpeg, content.buf, (size_t)content.len) && jpeg->width == (size_t)width &&
             jpeg->height == (size_t)height)
        result = read_planes(jpeg);
    else
        result = Py_NewRef(Py_None);
    free(jpeg);
    PyBuffer_Release(&content);
    return result;
}

/* INSTRUCTION_SETS: the names of the usable implementations, slowest first. */
static int add_instruction_sets(PyObject *module)
{
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return -1;
    int status = 0;
    const struct implementation *const *usable = usable_implementations();
    for (; status == 0 && *usable != NULL; usable++) {
        PyObject *name = PyUnicode_FromString((*usable)->name);
        status = name == NULL ? -1 : PyList_Append(list, name);
        Py_XDECREF(name);
    }
    PyObject *names = status == 0 ? PyList_AsTuple(list) : NULL;
    Py_DECREF(list);
    status = names == NULL ? -1 : PyModule_AddObjectRef(module, "INSTRUCTION_SETS", names);
    Py_XDECREF(names);
    return status;
}

static PyMethodDef functions[] = {
    {"forward", forward, METH_VARARGS, "forward(activations, output, threads, instruction_set): writes output."},
    {"backward", backward, METH_VARARGS,
     "backward(activations, grad_output, grad_activations, threads, instruction_set): writes grad_activations."},
    {"jpeg_eighth", jpeg_eighth, METH_VARARGS,
     "jpeg_eighth(content, width, height): (width, height, pixels) of each component, or None."},
    {"default_threads", default_threads, METH_NOARGS,
     "How many threads OpenMP would use: OMP_NUM_THREADS or all cores."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_instruction_sets}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_kernels",
    .m_doc = "Operators in C on the CPU.",
    .m_methods = functions,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__kernels(void)
{
    return PyModuleDef_Init(&definition);
}
